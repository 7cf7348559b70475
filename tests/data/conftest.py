from tests.data.street import street_root

__all__ = ["street_root"]
