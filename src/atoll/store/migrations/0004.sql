-- Parallel runs.

CREATE TABLE comparisons (       -- the engine: what each compared release has come to; old ones go
    service   TEXT NOT NULL,
    release   INTEGER NOT NULL,
    at        REAL NOT NULL,
    run       BLOB NOT NULL,
    PRIMARY KEY (service, release)
);

CREATE TABLE noise (             -- the engine: how much the answers of what serves differ among themselves
    service   TEXT PRIMARY KEY,
    artifact  TEXT NOT NULL,
    profile   BLOB NOT NULL
);
