"""`groknet config`: print the configuration in force."""

from __future__ import annotations

from groknet.cli.exits import Exit
from groknet.cli.options import BundleOption, HomeOption, JsonOption
from groknet.cli.terminal import json_line
from groknet.home.config import load_config
from groknet.home.config_text import as_plain, as_toml
from groknet.home.paths import find_home


def config(*, home: HomeOption = None, bundle: BundleOption = None, json: JsonOption = False) -> Exit:
    """Print every key with the value in force, as TOML that can be read back. Passwords and tokens are printed as ***.

    Values come from HOME/groknet.toml. Environment variables override them: GROKNET__TAGGER__BATCH_SIZE=8 means
    [tagger] batch_size = 8.
    """
    loaded = load_config(find_home(home), bundle=bundle)
    if json:
        json_line(as_plain(loaded))
    else:
        print(as_toml(loaded))
    return Exit.OK
