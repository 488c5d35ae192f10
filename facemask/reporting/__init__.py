"""Reports: tables, text and plots."""
