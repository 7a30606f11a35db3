"""What tools/report.py is made of: measuring, pictures, curves, the cloud's viewer, and HTML templates."""
