"""Makes the tables and figures of the pages from the records and the published
networks: python -m extras.report."""
