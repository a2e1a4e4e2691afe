"""Binary records of trackers: files of the real packages, and files of another writer that is written out here."""

import json
import math
import struct
import zlib
from pathlib import Path

import pytest

from climbopt.files.collect import collect
from climbopt.files.event_files import scalars
from climbopt.files.jobs import PlannedRun
from climbopt.files.logs import read_log
from climbopt.files.records import BLOCK, fields, masked_checksum, prefixed_records
from climbopt.files.wandb_runs import tracked_run
from climbopt.foundations.errors import InputError

RECORDS = Path(__file__).parent / "records"
REAL = (RECORDS / "plan-001.wandb").read_bytes()
"""Written by wandb 0.31 with the name plan-001, a secret in its configuration, its host and its settings."""


def varint(number):
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def field(number, value):
    """A field of a message: a whole number, a float, text or bytes."""
    if isinstance(value, int):
        return varint(8 * number) + varint(value)
    if isinstance(value, float):
        return varint(8 * number + 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(8 * number + 2) + varint(len(data)) + data


def event_file(by_step):
    """An event file of TensorBoard with scalars by step and tag."""
    out = b""
    for step, numbers in by_step.items():
        values = b"".join(field(1, field(1, tag) + field(2, float(number))) for tag, number in numbers.items())
        event = varint(8 + 1) + struct.pack("<d", 1.5) + field(2, step) + field(5, values)
        length = struct.pack("<Q", len(event))
        out += length + struct.pack("<I", checksum(length)) + event + struct.pack("<I", checksum(event))
    return out


def checksum(data):
    """CRC-32C bit by bit, masked; 0xe3069283 of 123456789 (RFC 3720)."""
    rest = 0xFFFFFFFF
    for bit in (byte >> k & 1 for byte in data for k in range(8)):
        rest = rest >> 1 ^ (0x82F63B78 if (rest ^ bit) & 1 else 0)
    rest ^= 0xFFFFFFFF
    return ((rest >> 15 | rest << 17) + 0xA282EAD8) & 0xFFFFFFFF


def items(kind, values):
    """A record of the history (2) or of the summary (3)."""
    pairs = ((key, json.dumps(value)) for key, value in values.items())
    return field(kind, b"".join(field(1, field(2, key) + field(16, text)) for key, text in pairs))


def tracked(*records):
    """A record of W&B: chunks that never cross the blocks of LevelDB's log."""
    out = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
    for record in records:
        first = True
        while first or record:
            room = BLOCK - len(out) % BLOCK
            if room < 7:
                out += bytes(room)
                continue
            part, record = record[: room - 7], record[room - 7 :]
            kind = (1 if not record else 2) if first else (4 if not record else 3)
            out += struct.pack("<IHB", zlib.crc32(bytes([kind]) + part), len(part), kind) + part
            first = False
    return out


def test_a_real_offline_run():
    run = tracked_run(REAL)
    assert run.name == "plan-001" and run.state == "finished" and len(run.history) == 5
    assert run.history[0]["tokens"] == 2.5e5 and run.history[2]["eval/loss/de"] == 2.125
    assert run.history[3]["eval/loss/de"] == 2.25 and math.isnan(run.history[3]["eval/loss/en"])  # nested keys
    assert run.summary["best"] == 2.5 and "eval/loss/de" not in run.summary  # there it is the least


def test_secrets_are_not_read(tmp_path, run):
    assert b"hunter2" in REAL and "hunter2" not in repr(tracked_run(REAL))
    planned = [PlannedRun("plan-001", 1e6, {"en": 0.5, "de": 0.5}, {})]
    collection = collect(planned, [RECORDS])
    assert collection.runs[0].status == "ok" and collection.runs[0].losses == {"de": 2.25, "en": 2.75}
    assert "hunter2" not in collection.table().to_csv() + json.dumps(collection.provenance())


@pytest.mark.parametrize("size", [10, BLOCK - 7 - 7 - 3, BLOCK, 3 * BLOCK])
def test_records_across_blocks(size):
    """Chunks that fill a block, leave less than a header, or span several."""
    name = field(17, field(1, "id") + field(4, "hunter2") + field(13, "host") + field(8, "run"))
    step = {"loss": 2.5, "text": "x" * size}
    content = tracked(name, items(2, step), items(2, {"loss": 2.25}), items(3, {"last": 1}), field(18, b""))
    run = tracked_run(content)
    assert run.history == (step, {"loss": 2.25}) and run.summary == {"last": 1}
    assert (run.name, run.state) == ("run", "finished")


def test_how_a_run_ended():
    assert tracked_run(tracked(field(18, field(1, 3)))).state == "failed"
    assert tracked_run(tracked(items(2, {"loss": 2.5}))).state == ""
    assert tracked_run(tracked(field(17, field(1, "id")))).name == "id"


def test_a_run_that_was_killed_keeps_its_whole_records():
    content = tracked(items(2, {"loss": 2.5}), items(2, {"loss": 2.25}))
    for end in range(len(content)):
        assert tracked_run(content[:end]).history in ((), ({"loss": 2.5},))
    assert len(tracked_run(content + bytes(100)).history) == 2  # bytes that were reserved


def test_damage_is_refused_in_one_sentence(tmp_path):
    noticed = 0
    for position in range(0, len(REAL), 3):
        try:
            other = tracked_run(REAL[:position] + bytes([REAL[position] ^ 1]) + REAL[position + 1 :])
        except ValueError as error:
            noticed += 1
            assert "\n" not in str(error)
        else:  # a length that now points past the end is a run that was killed
            assert len(other.history) <= 5 and other.state == ""
    assert noticed > 0.95 * len(REAL) / 3
    for content, words in (
        (b"PK", "does not begin"),
        (tracked(b"\xff"), "cut off"),
        (tracked(b"\x0b"), "unknown kind"),
    ):
        (tmp_path / "a.wandb").write_bytes(content)
        with pytest.raises(InputError, match=f"a.wandb is no record of W&B that can be read: .*{words}"):
            read_log(tmp_path / "a.wandb")


def test_resumed_runs_of_one_id_are_one_run(tmp_path):
    for folder, steps in (("offline-run-1", (1, 2)), ("offline-run-2", (3, 4))):
        history = [items(2, {"tokens": step * 2.5e5, "eval/loss/en": 3 - step / 4}) for step in steps]
        (tmp_path / folder).mkdir()
        content = tracked(field(17, field(8, "plan-001")), *history, field(18, b""))
        (tmp_path / folder / "run-abc.wandb").write_bytes(content)
    [run] = collect([PlannedRun("plan-001", 1e6, {"en": 1.0}, {})], [tmp_path]).runs
    assert run.status == "ok" and run.losses == {"en": 2.0}


def test_a_real_event_file():
    by_step = scalars((RECORDS / "events.out.tfevents.1").read_bytes())
    numbers = {"eval/loss/en": 3.25, "single": 0.5, "double": 0.25, "int32": 0, "int64": 0}
    assert by_step[0] == numbers  # neither the vector nor the word
    later = {"eval/loss/en": 2.25, "single": 300.5, "double": 300.25, "int32": -300, "int64": 3 * 10**12}
    assert by_step[300] == later


def test_event_files_of_another_writer(tmp_path):
    by_step = {0: {"loss/en": 2.5}, 7: {"loss/en": 2.25, "loss/de": math.inf}}
    content = event_file(by_step)
    assert scalars(content) == by_step
    assert (
        masked_checksum(b"123456789")
        == checksum(b"123456789")
        == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) % 2**32
    )
    for end in range(len(content)):
        assert scalars(content[:end]) in ({}, {0: {"loss/en": 2.5}})
    for position in range(len(content)):
        damaged = content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]
        with pytest.raises(ValueError, match="checksum differs"):
            list(prefixed_records(damaged))
    (tmp_path / "events.out.tfevents.1").write_bytes(bytes(40))
    with pytest.raises(InputError, match="is no event file that can be read: its checksum differs at byte 0"):
        read_log(tmp_path / "events.out.tfevents.1")


def test_fields_of_every_kind():
    message = field(1, 300) + field(2, "de") + field(3, 1.5) + varint(8 * 4 + 1) + struct.pack("<d", 2.5)
    expected = [(1, 300), (2, b"de"), (3, struct.pack("<f", 1.5)), (4, struct.pack("<d", 2.5))]
    assert list(fields(message)) == expected
    with pytest.raises(ValueError, match="longer than its message"):
        list(fields(message[:-1]))
