"""Words that people type, and the labels of a bundle that they mean. It knows nothing of photos or of the index."""

from engines.words.phrases import LabelRef, Meaning, Phrase, Phrases

__all__ = ["LabelRef", "Meaning", "Phrase", "Phrases"]
