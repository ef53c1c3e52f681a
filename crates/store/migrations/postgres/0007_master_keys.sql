-- Which master keys a running node has: JSON; null when it does not run or never told.
ALTER TABLE nodes ADD COLUMN master_keys TEXT;
