"""What the configurations of all nets refuse alike."""


def check_sizes(*, num_classes: int, num_void: int, width: int) -> None:
    """Refuse sizes of which no net can be built.

    Args:
        num_classes: Classes to tell apart.
        num_void: Score channels for the pixels of no class.
        width: Channels of the stem.

    Raises:
        ValueError: If there are no classes, no channels, or scores of several voids.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}, but must be at least 1")
    if num_void not in (0, 1):
        raise ValueError(f"num_void is {num_void}, but must be 0 or 1")
    if width < 1:
        raise ValueError(f"width is {width}, but must be at least 1")
