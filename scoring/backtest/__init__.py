"""Deal risk on any event log, point in time: features, training, tables, figures. Pure; needs NumPy and scikit-learn.

``log`` holds the events and cuts each case at its outcome; ``story`` and ``features`` say what was known when;
``boosting``, ``smooth`` and ``anchor`` fit additive tables (``tables``); ``train`` picks them by how much history
there is; ``run`` replays, trains at one moment and predicts after it; ``figures`` and ``alerts`` measure.
"""
