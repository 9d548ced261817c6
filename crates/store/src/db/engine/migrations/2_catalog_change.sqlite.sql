-- What each of the last changes of `clock.catalog` changed, by its new value. A number without a row may have changed anything.
CREATE TABLE catalog_change (
    revision INTEGER PRIMARY KEY, part BIGINT NOT NULL, object BIGINT NOT NULL
);
