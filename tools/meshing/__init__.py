"""From a scan's results to its mesh: steps that are shown, records of what it was made from."""
