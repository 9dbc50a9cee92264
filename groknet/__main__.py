"""`python -m groknet`, which is how the supervisor starts its workers."""

from groknet.cli import main

if __name__ == "__main__":
    main()
