-- Which versions of Bioconductor there are, as the mirror declares them: one row, the text of a config.yaml.
CREATE TABLE bioconductor (id INTEGER PRIMARY KEY CHECK (id = 1), config TEXT NOT NULL);
