"""The estimators: the contract with scikit-learn, the order of the steps, and what a fitted one shows."""
