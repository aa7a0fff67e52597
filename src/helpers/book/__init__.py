"""What pages show: parameters, players, listening; figures, tables and sentences of each chapter; pages that stand alone."""
