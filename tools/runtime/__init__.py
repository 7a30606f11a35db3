"""What every program shares: errors, flags, records, signals, jobs, processes."""
