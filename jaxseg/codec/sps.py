"""The one number that FFmpeg does not hand out: how many references H.264 uses."""

from collections.abc import Iterator

HIGH_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
SEQUENCE_PARAMETERS = 7


def num_references(data: bytes) -> int | None:
    """Read `max_num_ref_frames` out of H.264 headers.

    Args:
        data: A stream's extradata, as avcC or Annex B, or a packet in Annex B.

    Returns:
        The largest number over all parameter sets; None where there is none.

    Source:
        ITU-T H.264, 7.3.2.1.1 and ISO/IEC 14496-15, 5.3.3.1.
    """
    try:
        units = list(_avcc_units(data) if data[:1] == b"\x01" else _annexb_units(data))
        numbers = [_parse(unit) for unit in units if unit and unit[0] & 31 == SEQUENCE_PARAMETERS]
    except (IndexError, OverflowError):
        return None
    return max(numbers, default=None)


def _avcc_units(data: bytes) -> Iterator[bytes]:
    position = 6
    for _ in range(data[5] & 31):
        length = int.from_bytes(data[position : position + 2], "big")
        yield data[position + 2 : position + 2 + length]
        position += 2 + length


def _annexb_units(data: bytes) -> Iterator[bytes]:
    yield from data.split(b"\x00\x00\x01")[1:]


class _Bits:
    """A reader of single bits and Exp-Golomb numbers."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def bit(self) -> int:
        byte, shift = divmod(self.position, 8)
        self.position += 1
        return self.data[byte] >> (7 - shift) & 1

    def bits(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | self.bit()
        return value

    def unsigned(self) -> int:
        zeros = 0
        while not self.bit():
            zeros += 1
        return (1 << zeros) - 1 + self.bits(zeros)

    def signed(self) -> int:
        value = self.unsigned()
        return (value + 1) // 2 if value % 2 else -(value // 2)


def _parse(unit: bytes) -> int:
    # After two zero bytes a 3 is put in, so that no start code appears by chance.
    bits = _Bits(unit[1:].replace(b"\x00\x00\x03", b"\x00\x00"))
    profile = bits.bits(8)
    bits.bits(16)  # constraints, level
    bits.unsigned()  # seq_parameter_set_id
    if profile in HIGH_PROFILES:
        chroma = bits.unsigned()
        if chroma == 3:
            bits.bit()  # separate_colour_plane_flag
        bits.unsigned()  # bit depths
        bits.unsigned()
        bits.bit()  # qpprime_y_zero_transform_bypass_flag
        if bits.bit():
            for index in range(12 if chroma == 3 else 8):
                if bits.bit():
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    bits.unsigned()  # log2_max_frame_num_minus4
    order = bits.unsigned()  # pic_order_cnt_type
    if order == 0:
        bits.unsigned()
    elif order == 1:
        bits.bit()
        bits.signed()
        bits.signed()
        for _ in range(bits.unsigned()):
            bits.signed()
    return bits.unsigned()


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = scale = 8
    for _ in range(size):
        if scale:
            scale = (last + bits.signed()) % 256
        last = scale or last
