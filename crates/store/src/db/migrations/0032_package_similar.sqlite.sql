-- Similar names of packages. Expand-only.

-- Finds the names that differ from another one in case, '.', '-' and '_' only; see policy::comparison_key.
CREATE INDEX package_similar ON package (language, replace(replace(replace(fold, '.', ''), '-', ''), '_', ''));
