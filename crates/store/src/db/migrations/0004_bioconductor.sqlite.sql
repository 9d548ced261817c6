-- The versions of Bioconductor, as the mirror declares them: one row with the text of `config.yaml`.
CREATE TABLE bioconductor (id INTEGER PRIMARY KEY CHECK (id = 1), config TEXT NOT NULL);
