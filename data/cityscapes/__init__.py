"""Cityscapes (Cordts et al. 2016): 30-frame snippets of drives, one frame of each labelled."""

from data.cityscapes.reading import Snippet, find_snippets, read_snippet, read_stills
from data.cityscapes.submission import write_submission

__all__ = ["Snippet", "find_snippets", "read_snippet", "read_stills", "write_submission"]
