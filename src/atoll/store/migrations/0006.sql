-- What is open is asked for in every turn, among all the changes that there ever were.

CREATE INDEX changes_by_state ON changes (state);
