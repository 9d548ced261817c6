-- The versions of Bioconductor, as the mirror declares them: one row with the text of `config.yaml`.
CREATE TABLE bioconductor (id BIGINT PRIMARY KEY CHECK (id = 1), config TEXT COLLATE "C" NOT NULL);
