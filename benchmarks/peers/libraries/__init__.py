"""A module for each library, with a class ``Peer``; the package above says what it has to do."""
