"""Callbacks for other people's trainers; each needs the library that it is for."""
