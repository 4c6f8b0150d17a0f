"""Learning the tables of live deal risk from the log: rows by the live features, fits by how much has closed."""
