"""HTTP over a unix socket: thin, typed by `atoll.wire`, no decision taken here."""
