import type * as D from './node_modules/@grafana/schema/dist/types/raw/dashboard/x/types.gen';

// As dist/types/veneer/dashboard.types does: an annotation's target is the query of its data source. The two formats
// are read by the Prometheus plugin (packages/grafana-prometheus/src/annotations.ts).
interface Annotation extends Omit<D.AnnotationQuery, 'target'> {
  target: Record<string, unknown>;
  titleFormat?: string;
  textFormat?: string;
}

interface Dashboard extends Omit<D.Dashboard, 'annotations'> {
  annotations: { list: Annotation[] };
}

export interface Root {
  dashboard: Dashboard;
}
