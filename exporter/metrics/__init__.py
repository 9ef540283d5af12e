"""From the ledger to the pages that Prometheus scrapes: the catalogue of families, snapshots, rendering."""
