-- System requirements of releases whose index record has none.
ALTER TABLE detail ADD COLUMN system_requirements TEXT;
