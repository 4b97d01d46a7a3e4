//! Sockets to partitions: the Kafka and Danube fronts, topics, subscriptions, coordinators.
