import type * as P from './node_modules/@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';

export interface Root {
  options: P.Options;
  custom: P.FieldConfig;
}
