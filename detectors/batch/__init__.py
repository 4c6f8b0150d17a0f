"""Work on whole logs, never part of judging an action: what is here may take numpy and scikit-learn."""
