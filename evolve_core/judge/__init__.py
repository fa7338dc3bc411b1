"""The trusted side: from a candidate to its verdict. Only ``host/`` runs in the user's interpreter."""
