-- Releases that move traffic in steps.

ALTER TABLE pins ADD COLUMN progress BLOB;      -- the engine

CREATE TABLE signals (           -- operations add what a person asks of a release, the engine takes it out
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    at        REAL NOT NULL,
    service   TEXT NOT NULL,
    signal    TEXT NOT NULL,
    actor     TEXT NOT NULL,
    reason    TEXT NOT NULL
);

CREATE TABLE transitions (       -- the engine appends: what moved a release on, who and why
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    at        REAL NOT NULL,
    service   TEXT NOT NULL,
    release   INTEGER NOT NULL,
    source    TEXT NOT NULL,
    target    TEXT NOT NULL,
    signal    TEXT NOT NULL,
    actor     TEXT NOT NULL,
    reason    TEXT NOT NULL
);
