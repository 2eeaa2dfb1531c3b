"""Versions of the flag document: whole or not at all, by whom and why, and how old each flag is."""

from __future__ import annotations

import json
import random
import sqlite3
from dataclasses import replace

import pytest

from atoll.errors import Conflict, Unavailable
from atoll.store import flags
from atoll.store.flags import NOTHING, Age, Author, Version, content
from atoll.store.store import Store

ADA = Author(100.0, "ada", "sets the document", "to begin")
FLAG = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}


def document(**flags):
    return {"flags": flags}


def write(store, author=ADA, **flags):
    return store.flags.write(content(document(**flags)), author, before=store.flags.current().etag)


def test_before_the_first_there_is_a_document_without_flags(store):
    assert store.flags.current() is NOTHING
    assert store.flags.current().document() == {"flags": {}}


def test_what_is_written_is_served_also_after_a_restart(store, path):
    written = write(store, new=FLAG, naïve=FLAG)
    assert store.flags.current() == written
    store.close()
    again = Store(path)
    assert again.flags.current() == written
    assert again.flags.current().document() == document(new=FLAG, naïve=FLAG)
    assert (written.number, written.author) == (1, ADA)
    again.close()


def test_an_edit_of_what_somebody_else_has_changed_is_a_conflict_and_changes_nothing(store):
    seen = write(store, new=FLAG).etag
    write(store, replace(ADA, actor="bob"), new=FLAG, other=FLAG)
    with pytest.raises(Conflict, match="bob wrote version 2"):
        store.flags.write(content(document()), ADA, before=seen)
    assert store.flags.current().number == 2
    assert [v.number for v in store.flags.history()] == [2, 1]


def test_the_current_document_is_read_once_for_all_who_ask(store):
    assert store.flags.document() == document()
    write(store, new=FLAG)
    assert store.flags.document() == document(new=FLAG)
    assert store.flags.document() is store.flags.document()
    assert store.flags.current().document() is not store.flags.document()


def test_the_same_number_in_another_file_has_another_etag(store, tmp_path):
    other = Store(tmp_path / "other.db")
    assert write(store, new=FLAG).etag != write(other, old=FLAG).etag
    other.close()


def test_who_serves_is_told_after_every_change(store):
    heard = []
    store.flags.listeners.append(lambda: heard.append(store.flags.current().number))
    write(store, new=FLAG)
    write(store)
    assert heard == [1, 2]


def test_what_cannot_be_written_down_changes_nothing_and_nobody_is_told(store):
    before = write(store, new=FLAG)
    heard = []
    store.flags.listeners.append(lambda: heard.append(1))
    store._db.execute("PRAGMA query_only = ON")
    with pytest.raises(Unavailable, match="nothing was changed"):
        write(store)
    store._db.execute("PRAGMA query_only = OFF")
    assert (store.flags.current(), heard) == (before, [])


def test_a_version_is_written_with_the_ages_or_not_at_all(store):
    write(store, new=FLAG)
    store._db.execute("CREATE TRIGGER no BEFORE DELETE ON flag_ages BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(sqlite3.IntegrityError):
        write(store)
    assert [v.number for v in store.flags.history()] == [1]
    assert store.flags.current().document() == document(new=FLAG)


def test_history_goes_back_as_far_as_it_is_kept(store, monkeypatch):
    monkeypatch.setattr(flags, "VERSIONS_KEPT", 3)
    for number in range(5):
        write(store, replace(ADA, reason=f"reason {number}"), **{f"f{number}": FLAG})
    assert [(v.number, v.author.reason) for v in store.flags.history()] == [
        (5, "reason 4"),
        (4, "reason 3"),
        (3, "reason 2"),
    ]
    assert [v.number for v in store.flags.history(limit=1)] == [5]
    assert json.loads(store.flags.version(3).text) == document(f2=FLAG)
    assert store.flags.version(2) is None


def test_of_large_documents_fewer_versions_are_kept_the_oldest_go_first(store, monkeypatch):
    noise = random.Random(7)
    for number in range(5):
        write(store, **{f"f{number}": FLAG | {"metadata": {"noise": noise.randbytes(5000).hex()}}})  # 5 kB packed
    assert len(store.flags.history()) == 5
    monkeypatch.setattr(flags, "BYTES_KEPT", 20_000)
    large = write(store, large=FLAG | {"metadata": {"noise": noise.randbytes(30_000).hex()}})
    assert [v.number for v in store.flags.history()] == [6, 5, 4, 3]
    assert store.flags.version(6) == store.flags.current() == large
    write(store, small=FLAG)
    assert [v.number for v in store.flags.history()] == [7]
    write(store)
    assert [v.number for v in store.flags.history()] == [8, 7]


def test_a_document_takes_a_fraction_of_its_size(store):
    text = write(store, **{f"flag-{number}": FLAG for number in range(500)}).text
    assert store._db.execute("SELECT length(document) FROM flag_documents").fetchone()[0] < len(text) / 10


def test_what_an_earlier_atoll_has_written_is_read(store, path):
    text = '{"flags":{"naïve":{}}}'
    store._db.execute(
        "INSERT INTO flag_documents VALUES (1, 100.0, 'ada', 'sets the document', 'to begin', ?)", (text,)
    )
    again = Store(path)
    assert again.flags.current() == Version(1, ADA, text)
    again.close()


def test_a_flag_s_age_goes_on_through_changes_and_ends_with_it(store):
    half = FLAG | {"targeting": {"fractional": [["on", 50], ["off", 50]]}}
    write(store, new=FLAG)
    write(store, replace(ADA, at=200.0), new=FLAG, other=FLAG)
    assert store.flags.ages() == {"new": Age(100.0, "off", 100.0), "other": Age(200.0, "off", 200.0)}
    write(store, replace(ADA, at=300.0), new=half)
    write(store, replace(ADA, at=400.0), new=half)
    assert store.flags.ages() == {"new": Age(100.0, None, 300.0)}
    write(store, replace(ADA, at=500.0), new=FLAG | {"defaultVariant": "on"})
    assert store.flags.ages() == {"new": Age(100.0, "on", 500.0)}
