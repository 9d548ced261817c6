-- The number of changes of the table `name_guard` that only added automatic guards, so that servers read only these.
-- Expand-only: an older program does not count its changes here, and servers read all guards after them.
INSERT INTO sequence (name, next) VALUES ('name_guard_addition', 1) ON CONFLICT (name) DO NOTHING;
