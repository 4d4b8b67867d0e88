"""One module for each migration. Revisions are four digits that count up, without branches."""
