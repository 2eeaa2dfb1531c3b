-- Feature flags.

CREATE TABLE flag_documents (    -- operations and the engine append: every version that was ever served, the newest is
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    at        REAL NOT NULL,
    actor     TEXT NOT NULL,
    deed      TEXT NOT NULL,
    reason    TEXT NOT NULL,
    document  TEXT NOT NULL      -- bytes: it is kept compressed
);

CREATE TABLE flag_ages (         -- written with each version: since when a flag is there, and the same for everybody
    flag        TEXT PRIMARY KEY,
    since       REAL NOT NULL,
    only        TEXT,
    only_since  REAL NOT NULL
);

CREATE TABLE flag_releases (     -- operations begin one, the engine moves it on
    flag      TEXT NOT NULL,
    number    INTEGER NOT NULL,
    at        REAL NOT NULL,
    release   BLOB NOT NULL,
    state     TEXT NOT NULL,
    note      TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (flag, number)
);
