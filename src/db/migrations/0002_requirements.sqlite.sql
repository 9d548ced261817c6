-- What a release says it needs of the operating system, where its index record does not tell.
ALTER TABLE detail ADD COLUMN system_requirements TEXT;
