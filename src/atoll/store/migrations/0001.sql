-- Intent in, facts in, everything else computed. One writer per table, named beside it.

CREATE TABLE intents (           -- operations: every system that was ever applied
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    at        REAL NOT NULL,
    change    INTEGER NOT NULL,
    system    BLOB NOT NULL
);

CREATE TABLE changes (           -- operations add, the engine moves them on
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    at        REAL NOT NULL,
    kind      TEXT NOT NULL,
    services  BLOB NOT NULL,
    request   BLOB NOT NULL,
    state     TEXT NOT NULL,
    reason    TEXT NOT NULL DEFAULT '',
    before    INTEGER NOT NULL DEFAULT 0,
    releases  BLOB NOT NULL DEFAULT '{}'
);

CREATE TABLE releases (          -- the engine, once a build is there
    service   TEXT NOT NULL,
    number    INTEGER NOT NULL,
    at        REAL NOT NULL,
    recipe    BLOB NOT NULL,
    state     TEXT NOT NULL,
    note      TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (service, number)
);

CREATE TABLE pins (              -- the engine
    service   TEXT PRIMARY KEY,
    stable    INTEGER,
    target    INTEGER
);

CREATE TABLE blueprint (         -- the engine: one row
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    head      BLOB NOT NULL
);

CREATE TABLE workloads (         -- the engine: the blueprint's parts, each written when it changed
    service   TEXT PRIMARY KEY,
    workload  BLOB NOT NULL
);

CREATE TABLE events (            -- everybody appends
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    at        REAL NOT NULL,
    level     TEXT NOT NULL,
    kind      TEXT NOT NULL,
    service   TEXT NOT NULL,
    subject   TEXT NOT NULL,
    text      TEXT NOT NULL
);
