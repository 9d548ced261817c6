-- Builders that build the vignettes of their package. Expand-only.
CREATE TABLE git_vignettes (builder_id INTEGER PRIMARY KEY);
