"""The local stack: PostgreSQL, MLflow and Airflow under one supervisor."""
