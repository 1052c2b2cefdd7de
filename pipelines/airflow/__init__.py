"""What Airflow needs of us: a client of its API, links, deadline callbacks."""
