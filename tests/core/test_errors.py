"""Messages of errors, as one line."""

import pytest

from bench.core.errors import describe_error, first_line


class Speechless(Exception):
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("it is flat", "it is flat"),
        ("it is flat\nand round", "it is flat"),
        (
            'Error(s) in loading state_dict for Net:\n\tMissing key(s): "a". \n\tUnexpected',
            'Error(s) in loading state_dict for Net: Missing key(s): "a".',
        ),
        ("\n  what follows:\n", "what follows:"),
        ("", ""),
    ],
)
def test_a_line_that_ends_with_a_colon_takes_the_next_one_along(message, line):
    assert first_line(RuntimeError(message)) == line


def test_an_error_without_a_message_is_its_class():
    assert describe_error(Speechless()) == "Speechless"
    assert describe_error(KeyError()) == "KeyError"
