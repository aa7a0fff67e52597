"""The lowest floor: settings and profiles, arrays and tables on the disk, hashes, seeds, progress, the machine."""
