-- The marker of each storage class as this database wrote it: the place, whether the marker was written there, the
-- token of its adoption (empty: never adopted), and its generations, newest first; and the number of objects that the
-- sweep removed since a time.
CREATE TABLE storage_class (
    class TEXT PRIMARY KEY, place TEXT NOT NULL, marked BIGINT NOT NULL, adoption TEXT NOT NULL,
    generations TEXT NOT NULL, removed BIGINT NOT NULL, removed_since BIGINT NOT NULL
) WITHOUT ROWID;

-- Days, counted from the epoch, on which a sweep ran.
CREATE TABLE sweep_day (day INTEGER PRIMARY KEY);
