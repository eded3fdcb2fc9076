"""What a generated text can be checked for without a person: whether it is Python, or JSON.

Floor 1, used by transformer_vae.py.
"""

import ast
import json
import warnings


def is_python(text):
    """Whether a text is a Python module that is not empty, as `ast.parse` has it; `if x:` alone is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as invalid escapes
            return bool(ast.parse(text.strip()).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def is_json(text):
    """Whether a text is one JSON value."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


CHECKS = {"python": is_python, "json": is_json, "none": None}
