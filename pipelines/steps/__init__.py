"""One step a file = one Airflow task = one `hourglass` verb."""
