"""The parts of launch/run, which needs Python 3.6 and nothing else; imports go only downward."""
