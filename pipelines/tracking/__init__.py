"""MLflow and Optuna: training runs, searches, the registry of models."""
