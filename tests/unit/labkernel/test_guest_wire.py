"""What host and guest say to each other survives the console."""

import pytest

from testbed.labkernel.wire import Decoder, Ended, Failed, Hello, Order, Resize, Signal, Started, encode

ORDER = Order(
    argv=["sh", "-c", "echo 'ä b'\n"],
    cwd="/a folder/ü",
    environment={"TERM": "xterm"},
    check=[],
    checkout="/x",
    modules_folder="/m",
    modules=["openvswitch"],
    covered=["/run"],
    out_is_terminal=True,
    err_is_terminal=False,
    err_joins_out=False,
    columns=80,
    lines=24,
)
MESSAGES = [Hello(), ORDER, Started(1.5), Signal(2), Resize(100, 40), Ended(130), Failed("no module")]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_messages_arrive_whole_however_the_bytes_are_cut(size: int) -> None:
    stream = b"".join(map(encode, MESSAGES))
    decoder = Decoder()
    arrived = [message for at in range(0, len(stream), size) for message in decoder.feed(stream[at : at + size])]
    assert arrived == MESSAGES


def test_a_message_is_one_line_of_ascii() -> None:
    assert encode(ORDER).isascii()
    assert encode(ORDER).count(b"\n") == 1
