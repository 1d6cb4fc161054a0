"""What a user did wrong, said in one line."""


class InputError(ValueError):
    """Input that cannot be used: one line says what is wrong, with the value, and what to do."""
