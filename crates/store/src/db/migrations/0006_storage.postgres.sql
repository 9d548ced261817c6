-- The marker of each storage class as this database wrote it: the place, whether the marker was written there, the
-- token of its adoption (empty: never adopted), and its generations, newest first; and the number of objects that the
-- sweep removed since a time.
CREATE TABLE storage_class (
    class TEXT COLLATE "C" PRIMARY KEY, place TEXT COLLATE "C" NOT NULL, marked BIGINT NOT NULL,
    adoption TEXT COLLATE "C" NOT NULL, generations TEXT COLLATE "C" NOT NULL, removed BIGINT NOT NULL,
    removed_since BIGINT NOT NULL
);

-- Days, counted from the epoch, on which a sweep ran.
CREATE TABLE sweep_day (day BIGINT PRIMARY KEY);
